"""The Kubernetes controller of AsyncDiffJob."""
