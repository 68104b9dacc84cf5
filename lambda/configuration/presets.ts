import type * as z from 'zod';
import type { TargetInput } from './target';

/** The targets of a known system. */
export interface Preset<Parameters extends z.ZodRawShape = z.ZodRawShape> {
  /** The schema that the system itself uses by default. */
  readonly schema: string;
  /** What may stand beside `preset` and `schema`: a schema each, optional or with the system's own default. */
  readonly parameters: Parameters;
  /** Its tables in the order in which they are swept. The schema is added to each. */
  readonly targets: (parameters: z.output<z.ZodObject<Parameters>>) => readonly Omit<TargetInput, 'schema'>[];
}

/** The known systems by the name of their preset. */
export const presets: Readonly<Record<string, Preset>> = {};
