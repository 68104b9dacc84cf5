"""Prints the error of a construct whose props are wrong."""

from aws_cdk import App, Stack
from token_cleanup import CleanupTarget, IamUser, TokenCleanup

try:
    TokenCleanup(
        Stack(App(), "Auth"),
        "TokenCleanup",
        stage="prod",
        iam_user=IamUser(name="token_cleanup", resource_id="db-ABCDEFGHIJKL01234"),
        database_host="db.internal",
        concurrency=17,
        targets=[CleanupTarget(table="sessions", delete_when=[{}])],
    )
except RuntimeError as error:
    print(error)
