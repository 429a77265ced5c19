"""How many examples a run would newly find."""
