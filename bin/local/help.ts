/** The text of `npm start -- --help`. */
export const HELP = `Usage: npm start -- [options]

Deletes revoked, used and expired rows from token tables, with the function that
runs on Lambda. Without --database-url it cleans a demo: an embedded PostgreSQL
with about 200,000 rows, removed afterwards.

  --database-url URL  the database to clean: postgres://USER@HOST:PORT/DATABASE
                      Nothing is created in it. As for psql, missing parts come
                      from PGHOST, PGPORT, PGUSER and PGDATABASE, and the
                      password from PGPASSWORD or ~/.pgpass. A password in the
                      URL is visible to other users of this machine.
                      ?sslmode=verify-full  encrypts and checks the server's
                                            certificate; the default, except for
                                            localhost and sockets
                      ?sslmode=disable      does not encrypt
                      ?sslrootcert=FILE     trusts these authorities too (PEM);
                                            otherwise those of PGSSLROOTCERT
                      ?host=/DIRECTORY      connects to a Unix socket
  --dry-run           deletes nothing; shows what a run would delete and keep,
                      how long it would take, and what it needs
  --discover          deletes nothing; finds the tables of known systems, and
                      tables that look like tokens or sessions, and prints
                      targets for them
  --manifest FILE     the servers of a fleet, in place of a database: a line of
                      JSON for each. All of it is checked before the first
                      server is reached. Secrets are read and tokens signed with
                      the AWS account of this shell. PGSSLMODE is verify-full or
                      disable, PGSSLROOTCERT names further authorities to trust
  --yes               deletes without asking. Required with --database-url and
                      --manifest if input or output is not a terminal, except
                      with --json
  --targets FILE      tables and rules, as JSON in the form of CLEANUP_TARGETS
                      [default: revoked or expired rows of refresh_tokens; on
                      the demo also those of password_resets]
  --stage NAME        targets and settings of this stage in cdk.json, so that
                      what is tried is what is deployed. Of a stage with more
                      than one database: NAME/DATABASE
  --concurrency N     connections that delete at once, 1 to 16 [default: 1]
  --max-load X        share of time that a connection works, above 0 up to 1
                      [default: full speed alone, 5 % beside other sessions]
  --max-rows N        rows to delete from each table, and one batch more at
                      most [default: no limit]
  --json              prints only the result, as JSON. All else goes to stderr,
                      and so does the question; if nobody can answer it, the run
                      begins unasked. Run npm --silent start, or npm adds lines
  --verbose           shows the function's log on stderr
  --help              shows this

Ctrl-C ends a run after the current batch, a second Ctrl-C at once.

Exit code: 0 succeeded, or skipped (NODE_ENV is test, or another run is active);
1 failed; 2 wrong option, nothing was touched; 3 dead rows remain, or the run
was interrupted or not confirmed; 130 ended at once.
`;
