"""What the gateway knows of the resources: models and indexes, learnt by list and watch."""
