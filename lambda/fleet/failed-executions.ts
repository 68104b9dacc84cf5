/** Whether a file lists executions that failed, timed out or were stopped. */
export function isFailureFile(key: string): boolean {
  return /\/FAILED_\d+\.json$/.test(key);
}

/** An execution in such a file. */
interface FailedExecution {
  readonly Input?: string;
  readonly Error?: string;
  readonly Cause?: string;
}

/** @returns the errors of executions by server */
export function failuresIn(file: string): Map<string, string> {
  const executions = JSON.parse(file) as readonly FailedExecution[];
  return new Map(executions.map(({ Input, Error: error, Cause }) => [serverIn(Input), messageOf(error, Cause)]));
}

function serverIn(input = '{}'): string {
  const { server } = JSON.parse(input) as { server?: { name?: string } };
  return server?.name ?? '';
}

/** The text of an error, which is JSON if the function threw it. */
function messageOf(error = 'the execution failed', cause = ''): string {
  try {
    const { errorMessage } = JSON.parse(cause) as { errorMessage?: string };
    return errorMessage ?? `${error}: ${cause}`;
  } catch {
    return cause ? `${error}: ${cause}` : error;
  }
}
