import type { TargetsInput } from '../../lambda/configuration/targets';
import type { ConnectionOptions } from '../../lambda/database/session';
import { useDatabase } from '../support/database';

const database = useDatabase();

const TOKENS: TargetsInput = [{ table: 'tokens', deleteWhen: [{ revoked: true }] }];
const SESSIONS: TargetsInput = [{ table: 'sessions', deleteWhen: [{ ended: true }] }];

let connection: ConnectionOptions;

beforeEach(async () => {
  await database.sql(`
    create table tokens (id int primary key, revoked boolean, session_id int);
    create table sessions (id int primary key, ended boolean, token_id int references tokens);
    create index on sessions (token_id);
    insert into tokens select id, id % 2 = 0 from generate_series(1, 100) as id`);
  connection = await database.createRole('purger', 'delete, select on tokens, sessions');
});

test.each<[string, string, string | undefined, { maxRows?: number; targets?: TargetsInput }]>([
  ['is exact if nothing else can keep rows', '', undefined, {}],
  ['is exact if a run may delete so many', '', undefined, { maxRows: 50 }],
  [
    'counts more rows than one run may delete',
    '',
    'tokens: one run deletes about 49 of these rows, the limit of CLEANUP_MAX_ROWS',
    { maxRows: 49 },
  ],
  [
    'cannot include keys of tables that the role may not read',
    'create table devices (token_id int references tokens); create index on devices (token_id)',
    'tokens: foreign keys of tables that the role may not read may keep some of these rows',
    {},
  ],
  [
    'cannot include the refusals of a trigger',
    `create function refuse() returns trigger language plpgsql as 'begin return old; end';
     create trigger refuse before delete on tokens for each row execute function refuse()`,
    'tokens: a trigger on delete may keep some of these rows',
    {},
  ],
  [
    'does not include circles of dead rows between tables',
    `insert into sessions values (2, true, 2);
     alter table tokens add foreign key (session_id) references sessions;
     create index on tokens (session_id);
     update tokens set session_id = 2 where id = 2`,
    'tokens: rows of several tables that refer to each other in a circle stay',
    { targets: [...TOKENS, ...SESSIONS] },
  ],
])('the number of rows that would go %s', async (_, sql, reason, options) => {
  await database.sql(sql);
  const service = database.service({ targets: TOKENS, connection, ...options });

  const { targets, warnings = [] } = await service.run({ dryRun: true });

  expect(targets[0]?.rowsRemaining).toBe(50);
  expect(targets[0]?.diagnosis?.isUpperBound).toBe(reason === undefined ? undefined : true);
  expect(warnings.filter((warning) => warning.startsWith('tokens'))).toEqual(reason === undefined ? [] : [reason]);
});

test('names tables whose rows go along and cannot be counted, without a number', async () => {
  await database.sql(`
    create table grants (id int primary key, token_id int references tokens on delete cascade);
    create table uses (grant_id int references grants on delete cascade);
    create table notes (token_id int references tokens on delete cascade);
    create index on grants (token_id);
    create index on uses (grant_id);
    create index on notes (token_id);
    insert into grants select id, id from generate_series(1, 100) as id;
    insert into uses select id from generate_series(1, 100) as id;
    insert into notes select id from generate_series(1, 100) as id;
    grant select on notes, uses to purger`);
  const service = database.service({ targets: TOKENS, connection });
  const cascaded = [
    { table: '"public"."notes"', rows: 50 },
    { table: '"public"."grants"' },
    { table: '"public"."uses"' }, // the way to it leads over grants
  ];

  expect((await service.run({ dryRun: true })).targets[0]?.cascaded).toEqual(cascaded);
  expect((await service.run()).targets[0]?.cascaded).toEqual(cascaded);
  expect((await service.run()).targets[0]?.cascaded).toEqual([{ table: '"public"."notes"', rows: 0 }]);
  expect(await database.column('select count(*)::int from uses')).toEqual([50]);
});
