"""buckets.py NAME...: make buckets that are not there. Server and keys: the variables that every S3 client reads.

The library is that of dvc-s3; boto3 is not needed for two calls.
"""

import sys

from botocore.exceptions import ClientError
from botocore.session import get_session


def make(names: list[str]) -> None:
    "Make those that are not there; say what was done."
    s3 = get_session().create_client("s3")
    there = {bucket["Name"] for bucket in s3.list_buckets().get("Buckets", [])}
    for name in names:
        if name not in there:
            try:
                s3.create_bucket(Bucket=name)
            except ClientError as error:  # somebody else was quicker
                if error.response["Error"]["Code"] not in ("BucketAlreadyOwnedByYou", "BucketAlreadyExists"):
                    raise
        print(f"bucket {name}: {'was there' if name in there else 'made'}")


if __name__ == "__main__":
    make(sys.argv[1:])
