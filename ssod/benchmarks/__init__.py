"""What a training step costs, beside its floor and beside mmdet's own."""
