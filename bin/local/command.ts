import { isEnabled } from '../../lambda/configuration/environment';
import { describeError, printable } from '../../lambda/database/database-error';
import { discover } from '../../lambda/dry-run/discovery';
import type { SweepProgress } from '../../lambda/engine/pass';
import type { RunReport, RunStatus } from '../../lambda/run/report';
import { estimateRows, isConfirmed } from './confirmation';
import { withSession } from './database-session';
import { type Database, NO_PASSWORD, parseDatabaseUrl, storedPassword, withPasswordHint } from './database-url';
import { DemoTables } from './demo-tables';
import { showDiscovery, targetsOf } from './discovery';
import { EmbeddedPostgres } from './embedded-postgres';
import { count, rows } from './figures';
import type { Fleet } from './fleet';
import { announceFleet, runFleet, showFleet } from './fleet-run';
import { invoke, type LogLine } from './invocation';
import { type Job, nodeEnvOf } from './job';
import type { Options } from './options';
import { printableJson, printableLines, printableValue } from './printable';
import { prove, showProof } from './proof';
import { SecretsEndpoint } from './secrets-endpoint';
import { announce, announceDatabase, summarize } from './summary';
import { Terminal } from './terminal';

const EXIT_CODES: Readonly<Record<RunStatus, number>> = { succeeded: 0, skipped: 0, failed: 1, partial: 3 };
const FAILED = 1;
const INTERRUPTED = 3;
const ENDED_AT_ONCE = 130;

/** npm passes a Ctrl-C on to its child, which has already received it from the terminal. */
const SAME_CTRL_C_MS = 500;

const SECRET_ARN = 'arn:aws:secretsmanager:eu-central-1:000000000000:secret:token-cleanup-local-000000';

/** One execution of `npm start`. */
export class Command {
  readonly #options: Options;
  /** Without unprintable characters. */
  readonly #job: Job;
  /** Receives everything except a result in JSON. */
  readonly #output: NodeJS.WriteStream;
  readonly #terminal: Terminal;
  readonly #interrupt = new AbortController();

  constructor(options: Options) {
    this.#options = options;
    this.#job = printableValue(options.job);
    this.#output = options.json ? process.stderr : process.stdout;
    // Log lines would tear a moving bar apart.
    this.#terminal = new Terminal(this.#output, { live: !options.verbose });
  }

  /** @returns the exit code */
  async run(): Promise<number> {
    this.#listen();
    try {
      const { database, fleet } = this.#options;
      if (fleet) {
        return await this.#runOnFleet(fleet);
      }
      return await (database ? this.#runOn(database) : this.#runDemo());
    } catch (error) {
      if (error === this.#interrupt.signal.reason) {
        this.#terminal.gap();
        this.#terminal.say('Interrupted before the run began: nothing was deleted.');
        return INTERRUPTED;
      }
      this.#terminal.fail(printableLines(describeError(error)));
      return FAILED;
    }
  }

  /** The first Ctrl-C ends the run after the current batch, a second one at once. Nothing else cuts it short. */
  #listen(): void {
    let interruptedAt: number | undefined;
    process.on('SIGINT', () => {
      if (interruptedAt === undefined) {
        interruptedAt = performance.now();
        this.#interrupt.abort();
        this.#terminal.warn('ends after the current step; Ctrl-C again ends at once');
      } else if (performance.now() - interruptedAt > SAME_CTRL_C_MS) {
        process.exit(ENDED_AT_ONCE);
      }
    });
    process.once('exit', () => this.#terminal.endProgress());
    // A reader such as `head` may close the pipe. The run continues.
    process.stdout.on('error', () => {});
    process.stderr.on('error', () => {});
  }

  async #runOn(given: Database): Promise<number> {
    const { asks, dryRun, discover: discovers } = this.#options;
    const password = given.password ?? (await storedPassword(given));
    const database = password === undefined ? given : { ...given, password };
    if (discovers) {
      await this.#discover(database);
      return EXIT_CODES.succeeded;
    }
    if (!asks || !this.#isEnabled) {
      announce(this.#terminal, printableValue(database), this.#job, { dryRun });
    } else if (!(await this.#confirm(database))) {
      return INTERRUPTED;
    }
    const report = await this.#invoke(database);
    this.#summarize(report);
    return EXIT_CODES[report.status];
  }

  async #runOnFleet(fleet: Fleet): Promise<number> {
    const { asks, dryRun } = this.#options;
    announceFleet(this.#terminal, fleet, dryRun);
    if (asks && !(await this.#ask())) {
      return INTERRUPTED;
    }
    const report = await runFleet(fleet, this.#terminal, {
      dryRun,
      interrupt: this.#interrupt.signal,
      onLog: (line) => this.#options.verbose && process.stderr.write(`${printableJson(line)}\n`),
    });
    this.#show(report, () => showFleet(this.#terminal, report));
    return EXIT_CODES[report.status];
  }

  async #discover(database: Database): Promise<void> {
    announceDatabase(this.#terminal, 'Looking for tokens and sessions; nothing is deleted', printableValue(database));
    const discovery = await this.#terminal.during('reading the catalog, counting rows', () =>
      withSession(database, this.#interrupt.signal, discover),
    );
    const result = { ...discovery, targets: targetsOf(discovery) };
    this.#show(result, () => showDiscovery(this.#terminal, discovery));
  }

  async #confirm(database: Database): Promise<boolean> {
    const { targets, databases } = this.#options.job;
    const estimates = await this.#terminal.during('connecting', () =>
      withSession(database, this.#interrupt.signal, async (session) =>
        databases ? [] : await estimateRows(session, targets),
      ),
    );
    announce(this.#terminal, printableValue(database), this.#job, { dryRun: false, estimates });
    return await this.#ask();
  }

  async #ask(): Promise<boolean> {
    const { bold } = this.#terminal.colors;
    const confirmed = await isConfirmed(
      `${bold('Delete the matching rows?')} (--dry-run counts them) [y/N] `,
      this.#output,
      this.#interrupt.signal,
    );
    this.#terminal.say('');
    if (!confirmed) {
      this.#terminal.say('Not confirmed: nothing was deleted.');
    }
    return confirmed;
  }

  /** Whether the job runs: it does not if `NODE_ENV` is `test`, here or in the stage. */
  get #isEnabled(): boolean {
    return isEnabled({ NODE_ENV: nodeEnvOf(this.#options.job) });
  }

  async #runDemo(): Promise<number> {
    const { signal } = this.#interrupt;
    this.#terminal.say(this.#terminal.colors.bold('Preparing the demo'));
    const server = await this.#terminal.step(
      'starting PostgreSQL',
      // A Ctrl-C must not stop the server, and its data need not survive a crash. The run would yield to autovacuum.
      () => EmbeddedPostgres.start({ detached: true, settings: { fsync: 'off', autovacuum: 'off' } }),
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
      const database = { ...parseDatabaseUrl(server.url(), {}), exposesPassword: false };
      announce(this.#terminal, database, this.#job, { dryRun: this.#options.dryRun });
      const report = await this.#invoke(database);
      const census = await tables.takeCensus(report, this.#options.job.targets);
      await tables.close();
      const findings = prove(census, report);
      const proven = findings.every(({ holds }) => holds);
      this.#summarize(report);
      if (!this.#options.json || !proven) {
        showProof(this.#terminal, census, findings);
      }
      if (!this.#options.json) {
        this.#terminal.say(this.#terminal.colors.bold('Next'));
        this.#terminal.say('  npm start -- --database-url postgres://USER@HOST/DATABASE --dry-run');
        this.#terminal.say('  npx cdk deploy -c stage=NAME');
        this.#terminal.gap();
      }
      return proven ? EXIT_CODES[report.status] : FAILED;
    } finally {
      await server.remove();
    }
  }

  /** Invokes the function as Lambda does, with credentials from a local Secrets Manager. */
  async #invoke(database: Database): Promise<RunReport> {
    const { job, dryRun } = this.#options;
    const secrets = await SecretsEndpoint.start();
    const { user: username, password = NO_PASSWORD, host, port, name: dbname } = database;
    secrets.put(SECRET_ARN, JSON.stringify({ username, password, host, port, dbname }));
    const invocation = {
      environment: {
        ...secrets.environment,
        ...job.environment,
        DB_SECRET_ARN: SECRET_ARN,
        DB_SSL_MODE: database.sslMode,
        DB_SSL_ROOT_CERT: database.rootCertificateFile,
        NODE_ENV: nodeEnvOf(job),
      },
      event: { dryRun },
      timeLimitMs: job.timeLimitMs,
      interrupt: this.#interrupt.signal,
      onLog: this.#logReader(),
    };
    try {
      if (this.#isEnabled) {
        this.#terminal.startProgress(this.#job.targets.map(({ name }) => name));
      }
      const { report } = await invoke(invocation);
      return { ...report, ...(report.error && { error: withPasswordHint(report.error, database) }) };
    } finally {
      this.#terminal.endProgress();
      await secrets.stop();
    }
  }

  /** Shows progress and warnings from the log while the function runs. */
  #logReader(): (line: LogLine) => void {
    let begun = false;
    let lastWarning = '';
    return (line) => {
      if (this.#options.verbose) {
        process.stderr.write(`${printableJson(line)}\n`);
      }
      if (line.progress) {
        begun = true;
        const { table, rowsDeleted, blocksVisited, blocksTotal } = line.progress as SweepProgress & { table: string };
        const text = this.#options.dryRun ? '' : `${rows(rowsDeleted)} deleted`;
        this.#terminal.showProgress({ name: printable(table), done: blocksVisited, total: blocksTotal, text });
      } else if (line.waitMs !== undefined && !begun) {
        // The function waits a minute for a database to come back. A person who mistyped its name need not.
        this.#interrupt.abort();
      } else if (this.#shownLater(line)) {
        return;
      } else if (line.level === 'WARN' || line.level === 'ERROR') {
        // Further attempts that fail in the same way are not shown.
        const warning = printable([line.message, line.reason].filter(Boolean).join(': '));
        if (warning !== lastWarning) {
          this.#terminal.warn(warning);
        }
        lastWarning = warning;
      }
    };
  }

  /** Results of tables and of the run are in the report, and so are the findings of a dry run. */
  #shownLater({ target, run, waitMs }: LogLine): boolean {
    const { dryRun, json } = this.#options;
    return Boolean(target || run) || (dryRun && !json && waitMs === undefined);
  }

  #summarize(report: RunReport): void {
    this.#show(report, () => summarize(this.#terminal, printableValue(report), this.#job));
  }

  /** @param describe shows the result to a person */
  #show(result: object, describe: () => void): void {
    if (this.#options.json) {
      process.stdout.write(`${printableJson(result, 2)}\n`);
    } else {
      describe();
    }
  }
}
