"""What the commands share on a terminal: arguments, progress, interruption."""
