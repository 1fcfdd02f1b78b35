"""From a checkpoint to answers: predictions on any pictures, test metrics, exported models."""
