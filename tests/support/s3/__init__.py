"""A real S3 server for tests: versitygw on a folder, with conditional writes like Amazon's.

Fixtures (tests that ask for a server are marked `s3`, and it is built before the first test):

    s3_server       `S3Server` of the session (with xdist, of the worker)
    bucket          name of a new, empty bucket in `s3_server`
    new_s3_server   makes an `S3Server` for this test alone, to kill and restart

What an `S3Server` gives:

    server.client()                      a boto3 client (region, keys, path addressing, s3v4 set)
    server.client(account, config=...)   as another account, or with other settings of botocore
    server.endpoint, server.root         the address; the keys of the account that may do all
    server.environment()                 the AWS_... variables that make any program use this server
    server.bucket()                      makes a bucket and returns its name
    server.add_account()                 an account that may do nothing until a bucket policy says so
    server.kill(), server.stop(), server.run()      run() again serves the same data on the same port
    server.processes.signal("versitygw", signal.SIGSTOP)          hangs; SIGCONT goes on

Keys are files: `a/b` cannot be written beside `a/b/c` (409), which Amazon's S3 allows.
"""

from support.s3.server import Account, S3Server

__all__ = ["Account", "S3Server"]
