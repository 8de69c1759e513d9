"""Parts that tests share: a real cluster, a real S3 server, tiny pipelines."""
