import { Stack, TimeZone } from 'aws-cdk-lib';
import { StringParameter } from 'aws-cdk-lib/aws-ssm';
import type { TokenCleanup } from '../../lib/token-cleanup';
import {
  type CleanupOverrides,
  createCleanup,
  createStack,
  createStage,
  flat,
  type Properties,
  resource,
  resources,
} from '../support/cdk';

function createMachine(props: CleanupOverrides = { continueUntil: '06:00' }, stack = createStack()): TokenCleanup {
  return createCleanup({ functionName: 'token-cleanup-test_auth', ...props }, stack);
}

/** The states of the machine, by name. */
function statesOf(cleanup: TokenCleanup): Properties {
  return JSON.parse(flat(resource(Stack.of(cleanup), 'AWS::StepFunctions::StateMachine').DefinitionString)).States;
}

test('does not exist, nor anything of it, unless runs are continued or announced', () => {
  const types = ['AWS::StepFunctions::StateMachine', 'AWS::SSM::Parameter'];

  for (const stack of [Stack.of(createCleanup()), createStage('staging')]) {
    expect(types.flatMap((type) => resources(stack, type))).toEqual([]);
  }
  expect(createCleanup().stateMachine).toBeUndefined();
});

test('is started by the schedule in place of the function, with the time that it was scheduled for', () => {
  const cleanup = createMachine();
  const stack = Stack.of(cleanup);

  expect(resource(stack, 'AWS::Scheduler::Schedule').Target).toMatchObject({
    Arn: stack.resolve(cleanup.stateMachine?.stateMachineArn),
    Input: '{"scheduledAt":"<aws.scheduler.scheduled-time>"}',
    RetryPolicy: { MaximumEventAgeInSeconds: 3600, MaximumRetryAttempts: 3 },
  });
});

test('reads the off switch, cleans up, and does both again as long as the function answers with another round', () => {
  const states = statesOf(createMachine({ continueUntil: '06:00', timeZone: TimeZone.EUROPE_BERLIN }));

  expect(states['Read the off switch'].Next).toBe('Is it on?');
  expect(states['Is it on?']).toMatchObject({
    Choices: [{ Condition: "{% $offSwitch = 'on' %}", Next: 'Clean up' }],
    Default: 'Switched off',
  });
  expect(states['Clean up']).toMatchObject({
    Output: '{% $states.result.Payload %}',
    Next: 'Is there more?',
    TimeoutSeconds: 960,
  });
  expect(states['Clean up'].Arguments.Payload).toContain('{"until":"06:00","timeZone":"Europe/Berlin"}');
  expect(states['Is there more?']).toMatchObject({
    Choices: [
      {
        Condition: '{% $exists($states.input.again) %}',
        Output: '{% $states.input.again %}',
        Next: 'Read the off switch',
      },
    ],
    Default: 'Did it fail?',
  });
  expect(states['Switched off'].Next).toBe('Did it fail?');
  expect(states['Did it fail?']).toMatchObject({ Choices: [{ Next: 'Failed' }], Default: 'Done' });
  expect(states.Done.Type).toBe('Succeed');
});

test('repeats an invocation that Lambda refused, and no failure of a run, which stays open for a redrive', () => {
  const states = statesOf(createMachine());
  const { Retry, Catch } = states['Clean up'];

  expect(Retry).toHaveLength(1);
  expect(Retry[0].ErrorEquals.every((error: string) => error.startsWith('Lambda.'))).toBe(true);
  expect(Retry[0].ErrorEquals).toContain('Lambda.TooManyRequestsException');
  expect(Catch).toBeUndefined();
  // Nor does the off switch hide the failure of an earlier round.
  expect(states['Switched off'].Output).toContain("'status': $exists($states.input.rounds.error) ? 'failed' : ");
  for (const field of ['stage', 'dryRun', 'rowsDeleted', 'durationMs', 'error', 'warnings', 'targets', 'rounds']) {
    expect(states['Switched off'].Output).toContain(`'${field}': `);
  }
});

test('announces every end of a run on the default bus, and runs once if that is all it is for', () => {
  const states = statesOf(createMachine({ events: true }));

  expect(states).not.toHaveProperty('Is there more?');
  expect([states['Clean up'].Next, states['Switched off'].Next]).toEqual(['Announce', 'Announce']);
  expect(states.Announce).toMatchObject({
    Resource: expect.stringContaining(':states:::events:putEvents'),
    Arguments: {
      Entries: [
        {
          Source: 'token-cleanup',
          DetailType: 'Token Cleanup Run Completed',
          EventBusName: 'arn:aws:events:eu-central-1:111122223333:event-bus/default',
        },
      ],
    },
    Next: 'Did it fail?',
  });
  expect(states['Clean up'].Catch).toMatchObject([{ ErrorEquals: ['States.ALL'], Next: 'Announce' }]);
  expect(states['Did it fail?'].Choices[0].Condition).toBe("{% $states.input.status = 'failed' %}");
  expect(states.Failed).toMatchObject({
    Type: 'Fail',
    Error: "{% $exists($states.input.errorType) ? $states.input.errorType : 'RunFailed' %}",
    Cause: '{% $states.input.error %}',
  });
});

test('may invoke this function, read this switch, put events on this bus and deliver its log, and nothing else', () => {
  const cleanup = createMachine({ continueUntil: '06:00', events: true });
  const stack = Stack.of(cleanup);
  const policies = resources(stack, 'AWS::IAM::Policy').filter(({ PolicyName }) => PolicyName.includes('Workflow'));
  const statements = policies.flatMap(({ PolicyDocument }) => PolicyDocument.Statement);
  const allowed = statements.map(({ Action, Resource }) => [[Action].flat().sort().join(), Resource]);
  const functionArn = stack.resolve(cleanup.function.functionArn);

  expect(allowed).toEqual(
    expect.arrayContaining([
      ['lambda:InvokeFunction', [functionArn, { 'Fn::Join': ['', [functionArn, ':*']] }]],
      ['ssm:GetParameter', stack.resolve(cleanup.offSwitch?.parameterArn)],
      ['events:PutEvents', expect.anything()],
      [expect.stringMatching(/^logs:(?:Create|\w+)LogDelivery/), '*'],
    ]),
  );
  expect(flat(allowed.find(([action]) => action === 'events:PutEvents')?.[1])).toMatch(/:event-bus\/default$/);
  expect(allowed).toHaveLength(4);
});

test('is on when it is deployed, and shares its switch with the other databases of the stage', () => {
  const stage = createStage('prod');
  const parameter = resource(stage, 'AWS::SSM::Parameter');

  expect(parameter).toMatchObject({ Name: '/token-cleanup/prod/switch', Value: 'on' });
  expect(resources(stage, 'AWS::StepFunctions::StateMachine').map(({ StateMachineName }) => StateMachineName)).toEqual([
    'token-cleanup-prod_auth',
    'token-cleanup-prod_partners',
  ]);
});

test('takes a switch that exists already', () => {
  const stack = createStack();
  const offSwitch = StringParameter.fromStringParameterName(stack, 'Switch', '/ours');
  const cleanup = createMachine({ continueUntil: '06:00', offSwitch }, stack);

  expect(statesOf(cleanup)['Read the off switch'].Arguments).toEqual({ Name: '/ours' });
  expect(resources(stack, 'AWS::SSM::Parameter')).toEqual([]);
});
