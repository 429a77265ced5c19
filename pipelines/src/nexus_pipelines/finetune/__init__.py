"""The steps of a FineTuneJob: a run from select to register, then release, rollback, champion."""
