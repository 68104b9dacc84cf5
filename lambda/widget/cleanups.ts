/** A cleanup that the widget shows. The stack writes the list. */
export interface WidgetCleanup {
  readonly name: string;
  readonly logGroupName: string;
  readonly functionName: string;
  /** Started in place of the function; undefined without one. */
  readonly stateMachineArn?: string;
}

/** The variable that holds the list, as JSON. */
export const CLEANUPS_VARIABLE = 'CLEANUPS';
