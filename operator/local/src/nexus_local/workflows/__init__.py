"""The workflow engine: Argo WorkflowTemplates interpreted on one machine."""
