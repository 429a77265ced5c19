"""The steps of a FineTuneJob's run: select, validate, train, evaluate, gate, register, release."""
