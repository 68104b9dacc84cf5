"""MiniStack on one loopback port, over TLS, with what its CloudFormation lacks and the stack needs."""

import asyncio
import json
import os
import sys
import threading
import uuid

from botocore import session
from botocore.validate import ParamValidator
from hypercorn.asyncio import serve
from hypercorn.config import Config
from ministack.app import app
from ministack.core import lambda_runtime
from ministack.core.lambda_runtime import Worker
from ministack.core.responses import get_account_id, get_region
from ministack.services import cloudwatch, ec2, lambda_svc, s3, scheduler, stepfunctions
from ministack.services.cloudformation import provisioners

registries: dict[str, dict] = {}
schemas: dict[tuple[str, str], dict] = {}


def create_schedule(logical_id, props, stack):
    """As MiniStack's own, which leaves out the time zone."""
    name = provisioners._physical_name(stack, logical_id, max_len=64)
    check("scheduler", "CreateSchedule", {**props, "Name": name})
    demand(scheduler._create_schedule(name, props))
    return name, {"Arn": scheduler._schedule_arn(props["GroupName"], name)}


def update_schedule(name, _old, props, _stack):
    check("scheduler", "UpdateSchedule", {**props, "Name": name})
    demand(scheduler._update_schedule(name, props))
    return name, {"Arn": scheduler._schedule_arn(props["GroupName"], name)}


def create_function(logical_id, props, stack):
    """As MiniStack's own, which leaves out the network and the reserved concurrency."""
    name, attributes = create_plain_function(logical_id, props, stack)
    complete_function(name, props)
    return name, attributes


def update_function(name, old, props, stack, logical_id=None):
    updated = update_plain_function(name, old, props, stack, logical_id)
    complete_function(updated[0], props)
    return updated


def complete_function(name, props):
    function = lambda_svc._functions[name]
    function["concurrency"] = props.get("ReservedConcurrentExecutions")
    if "VpcConfig" in props:
        network = lambda_svc._vpc_config_with_id(props["VpcConfig"])
        missing = [group for group in network["SecurityGroupIds"] if group not in ec2._security_groups]
        if missing or not network["VpcId"]:
            raise ValueError(f"Not in one VPC, or not there: {props['VpcConfig']}")
        function["config"]["VpcConfig"] = network


def rules_by_themselves(permissions):
    """Rules of a group that another stack may own, kept in that group under this key."""

    def create(_logical_id, props, _stack):
        group = ec2._security_groups.get(props["GroupId"])
        if group is None:
            raise ValueError(f"The security group '{props['GroupId']}' does not exist")
        group[permissions] += provisioners._ec2_sg_permissions([props])
        return f"sgr-{uuid.uuid4().hex[:17]}", {}

    def delete(_physical_id, props):
        group = ec2._security_groups.get(props["GroupId"])
        for rule in provisioners._ec2_sg_permissions([props]) if group else []:
            group[permissions].remove(rule)

    return {"create": create, "update": refuse_update, "delete": delete}


def create_endpoint(logical_id, props, stack):
    """With DNS names, which MiniStack's own has none of: on AWS that of the region comes first, as `zone:name`."""
    endpoint_id, _ = create_nameless_endpoint(logical_id, props, stack)
    endpoint = ec2._vpc_endpoints[endpoint_id]
    service = endpoint["ServiceName"].split(".")[-1]
    name = f"{endpoint_id}-{uuid.uuid4().hex[:8]}.{service}.{get_region()}.vpce.amazonaws.com"
    endpoint["DnsEntries"] = [f"Z{uuid.uuid4().hex[:13].upper()}:{name}"]
    return endpoint_id, provisioners._ec2_vpc_endpoint_attributes(endpoint)


def create_registry(_logical_id, props, _stack):
    check("schemas", "CreateRegistry", props)
    name = props["RegistryName"]
    if name in registries:
        raise ValueError(f"Registry with name {name} already exists.")
    registries[name] = props
    arn = f"arn:aws:schemas:{get_region()}:{get_account_id()}:registry/{name}"
    return arn, {"RegistryName": name, "RegistryArn": arn}


def create_schema(_logical_id, props, _stack):
    check("schemas", "CreateSchema", props)
    registry, name = props["RegistryName"], props["SchemaName"]
    if registry not in registries:
        raise ValueError(f"Registry with name {registry} does not exist.")
    schemas[registry, name] = props
    arn = f"arn:aws:schemas:{get_region()}:{get_account_id()}:schema/{registry}/{name}"
    return arn, {"SchemaName": name, "SchemaArn": arn, "SchemaVersion": "1"}


def create_alarm(logical_id, props, stack):
    """As MiniStack's own, which refuses metric math."""
    return create_plain_alarm(logical_id, without_math(props), stack)


def update_alarm(name, old, props, stack, logical_id=None):
    return update_plain_alarm(name, without_math(old), without_math(props), stack, logical_id)


def without_math(props):
    """The first metric in place of the expression, once the expression has the form that AWS describes."""
    if "Metrics" not in props:
        return props
    check("cloudwatch", "PutMetricAlarm", props)
    plain = {key: value for key, value in props.items() if key != "Metrics"}
    first = next(metric["MetricStat"] for metric in props["Metrics"] if "MetricStat" in metric)
    return {**plain, **first["Metric"], "Period": first["Period"], "Statistic": first["Stat"]}


def create_composite_alarm(_logical_id, props, _stack):
    check("cloudwatch", "PutCompositeAlarm", props)
    demand(cloudwatch._put_composite_alarm({}, props, False, True))
    name = props["AlarmName"]
    return name, {"Arn": f"arn:aws:cloudwatch:{get_region()}:{get_account_id()}:alarm:{name}"}


def create_query(_logical_id, props, _stack):
    check("logs", "PutQueryDefinition", {key[0].lower() + key[1:]: value for key, value in props.items()})
    return str(uuid.uuid4()), {}


def run_distributed_map(state, raw_input, effective, iterator, execution, ctx):
    """As MiniStack's own, which writes no results to S3. Those of a Map Run that fails are written, too."""
    writer = state.get("ResultWriter")
    if writer is None:
        return run_plain_map(state, raw_input, effective, iterator, execution, ctx)
    target = stepfunctions._resolve_params_obj(writer["Parameters"], effective, ctx)
    paths = ("ResultSelector", "ResultPath", "OutputPath")
    plain = {key: value for key, value in state.items() if key not in paths}
    try:
        run_plain_map(plain, raw_input, effective, iterator, execution, ctx)
    finally:
        # None if the items could not be read.
        details = [write_results(run, target) for run in map_runs_of(execution)]
    result = stepfunctions._apply_result_selector(state, details[0])
    output = stepfunctions._apply_result_path(state, raw_input, result)
    return stepfunctions._apply_output_path(state, output, ctx), stepfunctions._next_or_end(state)


def map_runs_of(execution):
    return [run for run in stepfunctions._map_runs.values() if run["executionArn"] == execution["executionArn"]]


RECORD = ("executionArn", "name", "input", "output", "error", "cause", "status")


def write_results(run, target):
    """A file for each status of the executions, and a manifest of the files."""
    map_run = run["mapRunArn"]
    bucket, folder = target["Bucket"], f"{target['Prefix']}/{map_run.split(':')[-1]}"
    files = {"FAILED": [], "PENDING": [], "SUCCEEDED": []}
    for status in ("FAILED", "SUCCEEDED"):
        records = [
            {key[0].upper() + key[1:]: child[key] for key in RECORD if child.get(key) is not None}
            for child in stepfunctions._executions.values()
            if child.get("mapRunArn") == map_run and child["status"] == status
        ]
        if records:
            files[status].append({"Key": f"{folder}/{status}_0.json"})
            put_json(bucket, f"{folder}/{status}_0.json", records)
    put_json(bucket, f"{folder}/manifest.json", {"DestinationBucket": bucket, "MapRunArn": map_run, "ResultFiles": files})
    return {"MapRunArn": map_run, "ResultWriterDetails": {"Bucket": bucket, "Key": f"{folder}/manifest.json"}}


def call_rest_xml(service_info, service, action, input_data):
    """As MiniStack's own, which has no PutObject. A body that is an object is stored as JSON."""
    if (service, action) != ("s3", "putObject"):
        return call_plain_rest_xml(service_info, service, action, input_data)
    put_json(input_data["Bucket"], input_data["Key"], input_data["Body"])
    return {}


def put_json(bucket, key, value):
    demand(s3._put_object(bucket, key, json.dumps(value).encode(), {}))


failure = threading.local()


def invoke_worker(worker, *args, **options):
    result = invoke_plain_worker(worker, *args, **options)
    failure.type = result.get("type")
    return result


def execute_function(record, event):
    """As MiniStack's own, which forgets the names of errors."""
    failure.type = None
    result = execute_plain_function(record, event)
    error_type = "Lambda.TooManyRequestsException" if result.get("throttle") else failure.type
    if result.get("error") and error_type:
        result["body"]["errorType"] = error_type
    return result


def check(service, operation, props):
    """By AWS's own description of the API: no key that it does not know, none missing, none of another type."""
    shape = session.get_session().get_service_model(service).operation_model(operation).input_shape
    unknown = props.keys() - shape.members.keys()
    if unknown:
        raise ValueError(f"Encountered unsupported properties in {{/}}: {sorted(unknown)}")
    report = ParamValidator().validate(props, shape)
    if report.has_errors():
        raise ValueError(report.generate_report())


def demand(response):
    status, _headers, body = response
    if status >= 400:
        raise ValueError(body.decode())


def refuse_update(_physical_id, _old, _new, _stack):
    raise ValueError("This emulator cannot change a resource of this type")


run_plain_map = stepfunctions._run_distributed_map
stepfunctions._run_distributed_map = run_distributed_map
call_plain_rest_xml = stepfunctions._dispatch_aws_sdk_rest_xml
stepfunctions._dispatch_aws_sdk_rest_xml = call_rest_xml
handlers = provisioners._RESOURCE_HANDLERS
create_nameless_endpoint = handlers["AWS::EC2::VPCEndpoint"]["create"]
handlers["AWS::EC2::VPCEndpoint"]["create"] = create_endpoint
handlers["AWS::Scheduler::Schedule"] |= {"create": create_schedule, "update": update_schedule}
create_plain_function = handlers["AWS::Lambda::Function"]["create"]
update_plain_function = handlers["AWS::Lambda::Function"]["update"]
handlers["AWS::Lambda::Function"] |= {"create": create_function, "update": update_function}
create_plain_alarm = handlers["AWS::CloudWatch::Alarm"]["create"]
update_plain_alarm = handlers["AWS::CloudWatch::Alarm"]["update"]
handlers["AWS::CloudWatch::Alarm"] |= {"create": create_alarm, "update": update_alarm}
handlers["AWS::CloudWatch::CompositeAlarm"] = {
    "create": create_composite_alarm,
    "update": refuse_update,
    "delete": lambda name, _props: demand(cloudwatch._delete_alarms({}, {"AlarmNames": [name]}, False, True)),
}
handlers["AWS::Logs::QueryDefinition"] = {
    "create": create_query,
    "update": refuse_update,
    "delete": lambda _physical_id, _props: None,
}
handlers["AWS::EC2::SecurityGroupIngress"] = rules_by_themselves("IpPermissions")
handlers["AWS::EC2::SecurityGroupEgress"] = rules_by_themselves("IpPermissionsEgress")
handlers["AWS::EventSchemas::Registry"] = {
    "create": create_registry,
    "update": refuse_update,
    "delete": lambda _physical_id, props: registries.pop(props["RegistryName"]),
}
handlers["AWS::EventSchemas::Schema"] = {
    "create": create_schema,
    "update": refuse_update,
    "delete": lambda _physical_id, props: schemas.pop((props["RegistryName"], props["SchemaName"])),
}

lambda_runtime._NODEJS_WORKER_SCRIPT = lambda_runtime._NODEJS_WORKER_SCRIPT.replace(
    'status: "error", error: String(err.message || err)',
    'status: "error", type: err.name, error: String(err.message || err)',
)
invoke_plain_worker = Worker.invoke
Worker.invoke = invoke_worker
execute_plain_function = lambda_svc._execute_function_with_config_scope
lambda_svc._execute_function_with_config_scope = execute_function

# How long the log of an invocation is waited for, in seconds: for the first line, after each, in all. A busy machine
# delivers lines later than within MiniStack's 5 ms, and then they would be those of the next invocation.
Worker._drain_stderr_bounded.__defaults__ = (1.0, 0.3, 3.0)

config = Config()
config.bind = [f"127.0.0.1:{os.environ['GATEWAY_PORT']}"]
config.certfile = os.environ["MINISTACK_SSL_CERT"]
config.keyfile = os.environ["MINISTACK_SSL_KEY"]
# It ends with the process that started it, however that ends: then nobody holds the other end of its input.
asyncio.run(serve(app, config, shutdown_trigger=lambda: asyncio.to_thread(sys.stdin.read)))
