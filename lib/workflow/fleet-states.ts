import { FeatureFlags } from 'aws-cdk-lib';
import type { IFunction } from 'aws-cdk-lib/aws-lambda';
import type { IBucket } from 'aws-cdk-lib/aws-s3';
import {
  DistributedMap,
  JsonPath,
  Pass,
  ResultWriter,
  ResultWriterV2,
  S3JsonLItemReader,
  State,
  StateMachineType,
  Succeed,
  TaskInput,
} from 'aws-cdk-lib/aws-stepfunctions';
import { CallAwsService, LambdaInvoke } from 'aws-cdk-lib/aws-stepfunctions-tasks';
import { Construct } from 'constructs';
import { whileOn } from './off-switch';
import { type RoundsProps, retryTransientErrors, rounds } from './rounds';
import { announce, ending, messageOf } from './run-completed';

/** The rounds on each server, of which `request` is the first request, and the run around them. */
export interface FleetStatesProps extends Omit<RoundsProps, 'continues' | 'keep' | 'done'> {
  /** Checks the manifest, and sums up. */
  readonly summary: IFunction;
  readonly bucket: IBucket;
  readonly serversAtOnce: number;
  readonly toleratedFailurePercentage: number;
}

/**
 * The states of a run on a fleet: check the manifest, invoke the function for each server, sum up, announce.
 *
 * @returns the first of them
 */
export function fleetStates(scope: Construct, props: FleetStatesProps): State {
  const sumUp = invokeSummary(scope, 'Sum up', props, SUM_UP, '{% $states.result.Payload %}');
  sumUp.next(announce(scope).next(ending(scope, CAUSE)));
  const check = invokeSummary(scope, 'Check the manifest', props, CHECK, {
    manifest: '{% $states.result.Payload.manifest %}',
    request: `{% ${props.request} %}`,
  });
  check.addCatch(sumUp, { outputs: { failure: '{% $states.errorOutput %}' } });
  check.next(servers(scope, props).addCatch(sumUp, { resultPath: '$.failure' }).next(sumUp));
  const off = Pass.jsonata(scope, 'Switched off', {
    outputs: {
      status: 'skipped',
      stage: props.stage,
      dryRun: '{% $states.input.dryRun = true %}',
      rowsDeleted: 0,
      durationMs: 0,
      warnings: ['the off switch is set'],
    },
  });
  off.next(announce(scope, 'Announce that').next(Succeed.jsonata(scope, 'Skipped')));
  return whileOn(scope, props.offSwitch, { on: check, off });
}

const CHECK = "{% {'step': 'check', 'run': $states.context.Execution.Name} %}";

const SUM_UP = `{% (
  $failure := $states.input.failure;
  $request := $states.context.Execution.Input;
  $error := ${messageOf('$failure', "$failure.Error & ': ' & $failure.Cause")};
  $merge([
    {
      'step': 'sum-up',
      'run': $states.context.Execution.Name,
      'execution': $states.context.Execution.Id,
      'startedAt': $states.context.Execution.StartTime,
      'dryRun': $request.dryRun = true,
      'isWhole': $not($exists($request.tables) or $exists($request.after))
    },
    $exists($failure) ? {'error': $error} : {}
  ])
) %}`.replace(/\n\s*/g, ' ');

function invokeSummary(
  scope: Construct,
  id: string,
  { summary }: FleetStatesProps,
  payload: string,
  outputs: string | object,
): LambdaInvoke {
  const invoke = LambdaInvoke.jsonata(scope, id, {
    lambdaFunction: summary,
    payload: TaskInput.fromText(payload),
    outputs,
    retryOnServiceExceptions: false,
  });
  retryTransientErrors(invoke);
  return invoke;
}

/** Of an execution whose run failed. */
const CAUSE =
  "{% $join(['servers failed: ' & $string($sum([$states.input.servers.failed])), " +
  "'databases failed: ' & $string($sum([$states.input.databases.failed])), $states.input.error], '; ') %}";

/** Part of the ids of the executions for single servers. */
export const MAP_LABEL = 'servers';

const RESULT_WRITER_V2 = '@aws-cdk/aws-stepfunctions:useDistributedMapResultWriterV2';

/** Invokes the function for each server of the manifest, in an execution of its own with as many rounds as it takes. */
function servers(scope: Construct, props: FleetStatesProps): DistributedMap {
  const { bucket } = props;
  const results = { bucket, prefix: JsonPath.format('runs/{}/executions', JsonPath.executionName) };
  const map = DistributedMap.jsonPath(scope, 'Servers', {
    label: MAP_LABEL,
    mapExecutionType: StateMachineType.STANDARD, // Express ends after five minutes
    itemReader: new S3JsonLItemReader({ bucket, key: JsonPath.stringAt('$.manifest') }),
    itemSelector: {
      server: JsonPath.objectAt('$$.Map.Item.Value'),
      run: JsonPath.executionName,
      request: JsonPath.objectAt('$.request'),
    },
    maxConcurrency: props.serversAtOnce,
    toleratedFailurePercentage: props.toleratedFailurePercentage,
    // A feature flag of the app decides which one the map reads. The older one is deprecated.
    ...(FeatureFlags.of(scope).isEnabled(RESULT_WRITER_V2)
      ? { resultWriterV2: new ResultWriterV2(results) }
      : { resultWriter: new ResultWriter(results) }),
    resultPath: JsonPath.DISCARD,
  });
  return map.itemProcessor(roundsOnServer(new Construct(scope, 'Server'), props));
}

function roundsOnServer(scope: Construct, props: FleetStatesProps): State {
  const { bucket } = props;
  const keep = CallAwsService.jsonata(scope, 'Keep the result', {
    service: 's3',
    action: 'putObject',
    parameters: {
      Bucket: bucket.bucketName,
      Key:
        "{% 'runs/' & $states.input.run & '/rounds/' & $states.input.server & '/' & " +
        "$string($states.input.round) & '.json' %}",
      Body: '{% $states.input %}',
      ContentType: 'application/json',
    },
    iamResources: [bucket.arnForObjects('runs/*')],
    outputs: '{% $states.input %}',
  });
  keep.addRetry({ maxAttempts: 5 });
  const { start } = rounds(scope, {
    ...props,
    request: "$merge([$states.input.request, $sift($states.input, function($_, $key) { $key != 'request' })])",
    continues: true,
    keep,
    done: Succeed.jsonata(scope, 'Done', { outputs: {} }),
  });
  State.prefixStates(scope, 'Server: ');
  return start;
}
