"""What objects of Kubernetes say, in the terms in which decisions are made."""
