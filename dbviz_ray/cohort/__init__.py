"""Models of one shape, trained as one: what a step computes, how it runs, and everything that goes into it.

layers, losses -> gradients -> captured, execution -> network -> stack_size, optimizers, batches, sharpness
"""
