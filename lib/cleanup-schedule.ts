import { Duration, RemovalPolicy, Stack, TimeZone } from 'aws-cdk-lib';
import * as iam from 'aws-cdk-lib/aws-iam';
import type * as lambda from 'aws-cdk-lib/aws-lambda';
import {
  ContextAttribute,
  Schedule,
  ScheduleExpression,
  ScheduleGroup,
  ScheduleTargetInput,
  TimeWindow,
} from 'aws-cdk-lib/aws-scheduler';
import {
  LambdaInvoke,
  type ScheduleTargetBaseProps,
  StepFunctionsStartExecution,
} from 'aws-cdk-lib/aws-scheduler-targets';
import type { IQueue } from 'aws-cdk-lib/aws-sqs';
import type { IStateMachine } from 'aws-cdk-lib/aws-stepfunctions';
import type { Construct } from 'constructs';
import { toString as describeCrontab } from 'cronstrue';
import { isEnabled } from '../lambda/configuration/environment';
import { DELIVERY_WINDOW } from './function/database-function';
import { given } from './given';
import { justifyInvocation } from './permissions';
import { scheduleExpressions } from './schedule/schedule-expression';
import { longestGapMs, longestWindowMs } from './schedule/schedule-gaps';

/** Settings of the schedule. */
export interface CleanupScheduleProps {
  /**
   * A five-field crontab.
   *
   * @default 0 3 * * *
   */
  readonly schedule?: string;

  /** @default TimeZone.ETC_UTC */
  readonly timeZone?: TimeZone;

  /**
   * A run starts at any moment within this time after the scheduled minute: 1 minute to 24 hours.
   *
   * @default - runs start in the scheduled minute
   */
  readonly flexibleWindow?: Duration;

  /**
   * If `false`, the schedule is disabled and no alarm expects runs. The function can still be invoked by hand.
   *
   * @default true
   */
  readonly enabled?: boolean;
}

/** What a schedule starts. */
interface Run {
  readonly function: lambda.Function;
  /** Started in place of the function. */
  readonly stateMachine?: IStateMachine | undefined;
  readonly deadLetterQueue: IQueue;
}

/** The schedule of a function, in its own group, with bounded retries and a dead-letter queue, directly in the scope. */
export function createSchedule(
  scope: Construct,
  props: CleanupScheduleProps & { readonly nodeEnv?: string; readonly continueUntil?: string },
  run: Run,
) {
  const { schedule: crontab = '0 3 * * *', timeZone = TimeZone.ETC_UTC, flexibleWindow, continueUntil } = props;
  const zone = timeZone.timezoneName;
  const enabled = (props.enabled ?? true) && isEnabled({ NODE_ENV: props.nodeEnv });
  const expressions = scheduleExpressions(crontab);
  const longestGap = Duration.millis(longestGapMs(crontab, zone));
  const group = new ScheduleGroup(scope, 'ScheduleGroup', { removalPolicy: RemovalPolicy.DESTROY });
  const target = targetOf(run, createRole(scope, group, run));
  return {
    group,
    schedules: expressions.map(
      (expression, i) =>
        new Schedule(scope, i === 0 ? 'Schedule' : 'WeekdaySchedule', {
          ...given({ timeWindow: flexibleWindow && TimeWindow.flexible(flexibleWindow) }),
          schedule: ScheduleExpression.expression(expression, timeZone),
          description: `The crontab ${crontab}`,
          scheduleGroup: group,
          target,
          enabled,
        }),
    ),
    inWords: `${expressions.map(inWords).join(', and ')} (${zone})${enabled ? '' : ', disabled'}`,
    /** The longest time between the starts of two runs; undefined if the schedule is disabled. */
    startsWithin: enabled ? longestGap.plus(flexibleWindow ?? Duration.millis(0)).plus(DELIVERY_WINDOW) : undefined,
    /** The longest time for which an execution continues; zero without `continueUntil`. */
    longestWindow: Duration.millis(continueUntil === undefined ? 0 : longestWindowMs(crontab, continueUntil, zone)),
  };
}

function targetOf({ function: invoked, stateMachine, deadLetterQueue }: Run, role: iam.Role) {
  const props: ScheduleTargetBaseProps = {
    role,
    deadLetterQueue,
    // Only throttling makes a delivery fail. The default is 185 retries in 24 hours.
    retryAttempts: 3,
    maxEventAge: DELIVERY_WINDOW,
  };
  return stateMachine
    ? // The window counts from the scheduled time, however late the execution starts.
      new StepFunctionsStartExecution(stateMachine, {
        ...props,
        input: ScheduleTargetInput.fromObject({ scheduledAt: ContextAttribute.scheduledTime }),
      })
    : new LambdaInvoke(invoked, props);
}

function createRole(scope: Construct, group: ScheduleGroup, { function: invoked, stateMachine }: Run): iam.Role {
  const stack = Stack.of(scope);
  const role = new iam.Role(scope, 'ScheduleRole', {
    assumedBy: new iam.ServicePrincipal('scheduler.amazonaws.com', {
      conditions: { StringEquals: { 'aws:SourceAccount': stack.account, 'aws:SourceArn': group.scheduleGroupArn } },
    }),
  });
  if (!stateMachine) {
    justifyInvocation(role, invoked);
  }
  return role;
}

/** `cron(0 3 * * ? *)` as `At 03:00`. */
function inWords(expression: string): string {
  const crontab = expression.replace(/^cron\((.+) \*\)$/, '$1');
  return describeCrontab(crontab, { use24HourTimeFormat: true });
}
