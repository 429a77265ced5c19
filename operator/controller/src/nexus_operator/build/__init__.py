"""Pure builders of Kubernetes objects: everything they need comes in, plain objects come out."""
