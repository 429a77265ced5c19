"""The prompt of a grounded answer: the same for whoever asks the model, gateway or evaluation."""
