"""A language model as judge: faithfulness and context precision by ragas, in its own Python."""
