"""Asks AWS what no client of the project's own SDK is at hand for: `ask.py ec2 describe_security_groups {}`, as JSON."""

import json
import sys

from botocore import session

service, operation, parameters = sys.argv[1:]
client = session.get_session().create_client(service)
print(json.dumps(getattr(client, operation)(**json.loads(parameters)), default=str))
