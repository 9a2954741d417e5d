"""Trained models, asked: label maps on planes, margins, pictures."""
