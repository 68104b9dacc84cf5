/** Writes the page of the presets: `node --import tsx test/presets/documentation.ts > lambda/configuration/presets/README.md` */
import { presets } from '../../lambda/configuration/presets';
import type { Preset, PresetTable } from '../../lambda/configuration/presets/preset';

const EXAMPLES = [
  { preset: 'keycloak', schema: 'keycloak' },
  { preset: 'laravel-sanctum', expiration: '30d', timeZone: 'Europe/Berlin' },
  { preset: 'better-auth', tables: ['session', 'verification', 'deviceCode'] },
];

export function presetPage(): string {
  const blocks = Object.entries(presets).map(([name, preset]) => block(name, preset));
  return `# Presets

A preset stands for the token tables of a known system. It has the system's own rules for dead rows, the system's own retention
as default, and the tables in the order of their foreign keys. Each preset is tested on the tables that the system's migrations
create, against the system's own cleaner.

\`\`\`json
${JSON.stringify(EXAMPLES, undefined, 2)}
\`\`\`

- \`schema\`: the schema of the tables, if it is not the usual one.
- \`tables\`: the tables to sweep. Tables in *italics* come with a plug-in, a feature or a version that not every
  installation has, and are swept only if they are listed.
- The other keys are settings of the system, as ages: use the values that the system is configured with.
- \`npm start -- --database-url URL --discover\` prints the presets that fit a database, with the tables that exist in it.

${blocks.join('\n\n')}

## Systems without a preset

- **GitLab** itself deletes revoked OAuth tokens and grants a month after they were revoked, if its setting for that is on.
  Otherwise write the rule by hand, for \`oauth_access_tokens\` and \`oauth_access_grants\`:
  \`{"revoked_at":{"olderThan":"31d"}}\`. \`personal_access_tokens\` stays: GitLab lists expired tokens, and the users of its bots
  depend on them.
- **authentik** deletes expired rows through its models, which do more than that: an expired key of an application is
  replaced, not deleted, and a deleted session is also ended at the providers.
`;
}

function block(name: string, { system, cleaner, caveat, schema, parameters, tables }: Preset): string {
  const settings = Object.entries(parameters).filter(([parameter]) => parameter !== 'tables');
  return [
    `## \`${name}\``,
    '',
    `${system}${schema === 'public' ? '' : `, in the schema \`${schema}\``}. Its own cleaner: ${cleaner ?? 'none'}.`,
    ...(caveat ? ['', caveat] : []),
    '',
    '| table | is deleted when |',
    '| --- | --- |',
    ...tables.map(row),
    ...(settings.length > 0 ? [''] : []),
    ...settings.map(([parameter, schema]) => `- \`${parameter}\`${usualOf(schema)}: ${descriptionOf(schema)}`),
  ].join('\n');
}

function row({ table, deleteWhen, unlessReferredToBy, optional }: PresetTable): string {
  const rules = deleteWhen.map((rule) => `\`${JSON.stringify(rule)}\``).join(' or ');
  const unless = unlessReferredToBy ? `, unless ${unlessReferredToBy.join(' or ')} refers to it` : '';
  return `| ${optional ? `*${table}*` : table} | ${rules}${unless} |`;
}

function usualOf(schema: unknown): string {
  const { def } = schema as { def: { defaultValue?: string } };
  return def.defaultValue === undefined ? '' : ` (${def.defaultValue})`;
}

function descriptionOf(schema: unknown): string {
  return (schema as { description?: string }).description ?? '';
}

if (require.main === module) {
  process.stdout.write(presetPage());
}
