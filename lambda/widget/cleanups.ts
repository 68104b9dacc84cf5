/** A cleanup that the widget shows. The stack writes the list. */
export interface WidgetCleanup {
  readonly name: string;
  readonly logGroupName: string;
  readonly functionName: string;
  /** Started in place of the function; undefined without one. */
  readonly stateMachineArn?: string;
  /** Whether its log has lines of the runs on single servers, too. */
  readonly isFleet?: boolean;
}

/** The variable that holds the list, as JSON. */
export const CLEANUPS_VARIABLE = 'CLEANUPS';
