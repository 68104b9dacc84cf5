import { readRequest } from '../../lambda/configuration/event';
import { DEFAULT_TARGETS, parseTargets } from '../../lambda/configuration/targets';
import { mistakesOf } from '../support/mistakes';

describe('the event', () => {
  const targets = parseTargets(DEFAULT_TARGETS);

  test.each([
    ['nothing', undefined],
    ['an empty object', {}],
    [
      'the envelope of EventBridge Scheduler',
      { version: '0', id: 'x', 'detail-type': 'Scheduled Event', source: 'aws.scheduler', account: '1', detail: '{}' },
    ],
    ['the envelope of an EventBridge rule', { source: 'aws.events', detail: {} }],
  ])('runs the job as configured for %s', (_, event) => {
    expect(readRequest(event, { targets })).toEqual({});
  });

  test('may request a dry run, tables and another pace', () => {
    const event = { dryRun: true, tables: ['refresh_tokens'], concurrency: 4, maxLoad: 1 };
    expect(readRequest(event, { targets })).toEqual(event);
  });

  test('may ask for an end, and come from a state machine', () => {
    const event = {
      until: '06:00',
      timeZone: 'Europe/Berlin',
      scheduledAt: '2027-01-30T03:00:00Z',
      execution: 'arn:aws:states:eu-central-1:111122223333:execution:token-cleanup-prod_auth:1',
      rounds: { count: 1, rowsDeleted: 7, durationMs: 1000, status: 'failed', error: 'no table', after: 'tenant_a' },
    };
    expect(readRequest(event, { targets })).toEqual(event);
  });

  test('may have rounds only from a state machine', () => {
    const rounds = { count: 1, rowsDeleted: 7, durationMs: 1000, status: 'succeeded' };

    expect(mistakesOf(() => readRequest({ rounds }, { targets }))).toEqual([
      `event.rounds must not be set unless execution is, got ${JSON.stringify(rounds)}`,
    ]);
  });

  test('is refused by name for any other key, type or range', () => {
    expect(
      mistakesOf(() =>
        readRequest({ dryrun: true, dryRun: 'yes', tables: ['users'], concurrency: 0, maxLoad: 1.5 }, { targets }),
      ),
    ).toEqual([
      'event.dryRun must be true or false, got "yes"',
      'event.tables[0] must be a list of configured tables (refresh_tokens), got "users"',
      'event.concurrency must be a whole number from 1 to 16, got 0',
      'event.maxLoad must be above 0 and at most 1, got 1.5',
      'event.dryrun is not a known key (did you mean dryRun?)',
    ]);
    expect(
      mistakesOf(() =>
        readRequest(
          { execution: '', until: '6:00', timeZone: 'Mars', scheduledAt: 'today', rounds: { count: -1 } },
          { targets },
        ),
      ),
    ).toEqual([
      'event.until must be a time of day such as 06:00, got "6:00"',
      'event.timeZone must be a time zone of the IANA database, got "Mars"',
      'event.scheduledAt must be a time of UTC such as 2027-01-30T03:00:00Z, got "today"',
      'event.execution must be the id of an execution of a state machine, got ""',
      'event.rounds.count must be a whole number of 0 or more, got -1',
      'event.rounds.rowsDeleted is required',
      'event.rounds.durationMs is required',
      'event.rounds.status is required',
    ]);
    expect(mistakesOf(() => readRequest({ tables: [] }, { targets }))).toEqual([
      'event.tables must be a list of configured tables (refresh_tokens), got []',
    ]);
    expect(mistakesOf(() => readRequest('run', { targets }))).toEqual(['event must be an object, got "run"']);
    expect(mistakesOf(() => readRequest({ source: 'aws.s3' }, { targets }))).toEqual([
      'event.source is not a known key',
    ]);
  });

  test.each(['aws.scheduler', 'aws.events'])('is refused if it is both a request and an envelope of %s', (source) => {
    const refusal = (key: string) => `event.${key} must not be in an EventBridge envelope, whose source is ${source}`;
    expect(mistakesOf(() => readRequest({ source, dryRun: true, tables: ['refresh_tokens'] }, { targets }))).toEqual([
      refusal('dryRun'),
      refusal('tables'),
    ]);
    // A slip in the key deletes as much as none.
    expect(mistakesOf(() => readRequest({ source, dryrun: true, dry_run: true }, { targets }))).toEqual([
      refusal('dryrun'),
      refusal('dry_run'),
    ]);
    expect(mistakesOf(() => readRequest({ source, detail: { dryRun: true } }, { targets }))).toEqual([
      refusal('detail.dryRun'),
    ]);
    expect(mistakesOf(() => readRequest({ source, detail: '{"maxLoad":1}' }, { targets }))).toEqual([
      refusal('detail.maxLoad'),
    ]);
  });
});
