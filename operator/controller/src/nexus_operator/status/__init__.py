"""What children tell about their resource: pure functions from observations to status."""
