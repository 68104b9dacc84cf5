import { InvalidInputError } from '../../lambda/configuration/validation';

/** The mistakes for which something refuses its input; none if it does not. */
export function mistakesOf(read: () => unknown): readonly string[] {
  try {
    read();
  } catch (error) {
    if (error instanceof InvalidInputError) {
      return error.mistakes;
    }
    throw error;
  }
  return [];
}
