"""Runs and model versions in MLflow: tracked, registered, promoted, rolled back."""
