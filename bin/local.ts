import { isEnabled } from '../lambda/configuration/environment';
import { InvalidInputError } from '../lambda/configuration/validation';
import type { SweepProgress } from '../lambda/engine/sweep';
import type { RunReport, RunStatus } from '../lambda/report';
import { type Database, parseDatabaseUrl } from './local/database-url';
import { DemoTables } from './local/demo-tables';
import { EmbeddedPostgres } from './local/embedded-postgres';
import { count, rows } from './local/figures';
import { invoke, type LogLine } from './local/invocation';
import { HELP, type Options, parseOptions } from './local/options';
import { prove, showProof } from './local/proof';
import { SecretsEndpoint } from './local/secrets-endpoint';
import { announce, summarize } from './local/summary';
import { Terminal } from './local/terminal';

const EXIT_CODES: Readonly<Record<RunStatus, number>> = { succeeded: 0, skipped: 0, failed: 1, partial: 3 };
const FAILED = 1;
const WRONG_OPTION = 2;
const INTERRUPTED = 3;
const ENDED_AT_ONCE = 130;

/** npm repeats to its child a Ctrl-C that the terminal has sent to both already. */
const SAME_CTRL_C_MS = 500;

const SECRET_ARN = 'arn:aws:secretsmanager:eu-central-1:000000000000:secret:token-cleanup-local-000000';

/** `npm start`: runs the function of lambda/handler.ts on an embedded demo database, or on one that is given. */
class Command {
  readonly #options: Options;
  readonly #terminal: Terminal;
  readonly #interrupt = new AbortController();

  constructor(options: Options) {
    this.#options = options;
    // A stream of log lines and a bar that moves do not go together.
    this.#terminal = new Terminal(options.json ? process.stderr : process.stdout, { live: !options.verbose });
  }

  /** @returns the exit code */
  async run(): Promise<number> {
    this.#listen();
    try {
      const { database } = this.#options;
      return await (database ? this.#runOn(database) : this.#runDemo());
    } catch (error) {
      if (error === this.#interrupt.signal.reason) {
        this.#terminal.gap();
        this.#terminal.say('Interrupted before the run began: nothing was deleted.');
        return INTERRUPTED;
      }
      this.#terminal.fail((error as Error).message);
      return FAILED;
    }
  }

  /** Lets nothing from outside cut the run short, but a second Ctrl-C; the first asks it to end. */
  #listen(): void {
    let interruptedAt: number | undefined;
    process.on('SIGINT', () => {
      if (interruptedAt === undefined) {
        interruptedAt = performance.now();
        this.#interrupt.abort();
        this.#terminal.warn('ends after the step that is under way; Ctrl-C again ends at once');
      } else if (performance.now() - interruptedAt > SAME_CTRL_C_MS) {
        process.exit(ENDED_AT_ONCE);
      }
    });
    process.once('exit', () => this.#terminal.endProgress());
    // Who read along may go, as `head` does. The run goes on.
    process.stdout.on('error', () => {});
    process.stderr.on('error', () => {});
  }

  async #runOn(database: Database): Promise<number> {
    const report = await this.#invoke(database);
    this.#show(report);
    return EXIT_CODES[report.status];
  }

  async #runDemo(): Promise<number> {
    const { signal } = this.#interrupt;
    this.#terminal.say(this.#terminal.colors.bold('Prepares the demo'));
    const server = await this.#terminal.step(
      'starting PostgreSQL',
      // A Ctrl-C is not meant for the server, and nothing on it has to survive.
      () => EmbeddedPostgres.start({ detached: true, settings: { fsync: 'off' } }),
      ({ host, port }) => `PostgreSQL 18 runs on ${host}:${port}`,
    );
    try {
      const tables = await DemoTables.connect(server.url());
      await this.#terminal.step(
        'writing rows to refresh_tokens and password_resets',
        () => tables.fill(signal),
        (rows) => `${count(rows)} rows are in refresh_tokens and password_resets`,
      );
      signal.throwIfAborted();
      this.#terminal.gap();
      const report = await this.#invoke(parseDatabaseUrl(server.url()));
      const census = await tables.takeCensus(report, this.#options.targets);
      await tables.close();
      const findings = prove(census, report);
      const proven = findings.every(({ holds }) => holds);
      this.#show(report);
      if (!this.#options.json || !proven) {
        showProof(this.#terminal, census, findings);
      }
      if (!this.#options.json) {
        this.#terminal.say(this.#terminal.colors.bold('Next'));
        this.#terminal.say('  npm start -- --database-url postgres://USER:PASSWORD@HOST/DATABASE --dry-run');
        this.#terminal.say('  npx cdk deploy -c stage=NAME');
      }
      return proven ? EXIT_CODES[report.status] : FAILED;
    } finally {
      await server.remove();
    }
  }

  /** Invokes the function as Lambda would, on credentials that it reads from a Secrets Manager. */
  async #invoke(database: Database): Promise<RunReport> {
    const { targets, settings, dryRun } = this.#options;
    announce(this.#terminal, database, this.#options);
    const secrets = await SecretsEndpoint.start();
    const { user: username, password, host, port, name: dbname } = database;
    secrets.put(SECRET_ARN, JSON.stringify({ username, password, host, port, dbname }));
    const invocation = {
      environment: {
        ...secrets.environment,
        ...settings,
        DB_SECRET_ARN: SECRET_ARN,
        DB_SSL_MODE: database.sslMode,
        DB_SSL_ROOT_CERT: database.rootCertificateFile,
        NODE_ENV: process.env.NODE_ENV,
      },
      event: { dryRun },
      interrupt: this.#interrupt.signal,
      onLog: this.#logReader(),
    };
    try {
      if (!isEnabled(process.env)) {
        return (await this.#terminal.during('running the function', () => invoke(invocation))).report;
      }
      this.#terminal.startProgress(targets.map(({ name }) => name));
      return (await invoke(invocation)).report;
    } finally {
      this.#terminal.endProgress();
      await secrets.stop();
    }
  }

  /** Shows of the log what a person should see as it comes. */
  #logReader(): (line: LogLine) => void {
    let begun = false;
    let lastWarning = '';
    return (line) => {
      if (this.#options.verbose) {
        process.stderr.write(`${JSON.stringify(line)}\n`);
      }
      if (line.progress) {
        begun = true;
        const { table, rowsDeleted, blocksVisited, blocksTotal } = line.progress as SweepProgress & { table: string };
        const text = this.#options.dryRun ? '' : `${rows(rowsDeleted)} deleted`;
        this.#terminal.showProgress({ name: table, done: blocksVisited, total: blocksTotal, text });
      } else if (line.waitMs !== undefined && !begun) {
        // The function waits a minute for a database to come back. Whoever mistyped its name should not have to.
        this.#interrupt.abort();
      } else if (this.#shownLater(line)) {
        return;
      } else if (line.level === 'WARN' || line.level === 'ERROR') {
        // An attempt that fails as the last one did is no news.
        const warning = [line.message, line.reason].filter(Boolean).join(': ');
        if (warning !== lastWarning) {
          this.#terminal.warn(warning);
        }
        lastWarning = warning;
      }
    };
  }

  /** What a table or the run came to is in the report, and the findings of a dry run are shown with all else of it. */
  #shownLater({ target, run, waitMs }: LogLine): boolean {
    const { dryRun, json } = this.#options;
    return Boolean(target || run) || (dryRun && !json && waitMs === undefined);
  }

  #show(report: RunReport): void {
    if (this.#options.json) {
      process.stdout.write(`${JSON.stringify(report, null, 2)}\n`);
    } else {
      summarize(this.#terminal, report, this.#options.targets);
    }
  }
}

/** @returns the exit code */
async function main(args: readonly string[]): Promise<number> {
  let options: Options | 'help';
  try {
    options = parseOptions(args, process.env);
  } catch (error) {
    if (!(error instanceof InvalidInputError)) {
      throw error;
    }
    process.stderr.write(`${error.message}\nNothing was touched. All options: npm start -- --help\n`);
    return WRONG_OPTION;
  }
  if (options === 'help') {
    process.stdout.write(HELP);
    return 0;
  }
  return await new Command(options).run();
}

void main(process.argv.slice(2)).then((exitCode) => {
  process.exitCode = exitCode;
});
