"""`finetune-validate`: the gates that a selection has to pass before anything is trained."""
