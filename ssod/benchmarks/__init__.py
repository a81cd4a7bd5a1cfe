"""What a training step costs, compared with its floor and with mmdet's own."""
