import { type ParseArgsConfig, parseArgs } from 'node:util';
import { didYouMean, InvalidInputError } from '../../lambda/configuration/validation';

type Definitions = NonNullable<ParseArgsConfig['options']>;

export type Arguments<Options extends Definitions> = ReturnType<typeof parseArgs<{ options: Options }>>['values'];

/**
 * Reads options of a command line.
 *
 * @param remedy advice for an argument that is not an option. The parser's own message quotes it, and it may be a URL with
 *   a password
 * @throws InvalidInputError with the first mistake of syntax
 */
export function readArguments<Options extends Definitions>(
  args: readonly string[],
  options: Options,
  remedy: string,
): Arguments<Options> {
  const input = { args: [...args], options, tokens: true } as const;
  const { tokens } = parseArgs({ ...input, strict: false });
  const given = tokens.filter((token) => token.kind === 'option').map(({ name }) => name);
  const unknown = given.find((name) => !Object.hasOwn(options, name));
  if (unknown !== undefined) {
    throw new InvalidInputError([unknownOption(unknown, options)]);
  }
  const repeated = given.find((name, index) => !options[name]?.multiple && given.indexOf(name) < index);
  if (repeated !== undefined) {
    throw new InvalidInputError([`--${repeated} is given twice`]);
  }
  try {
    return parseArgs(input).values as Arguments<Options>;
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    switch (code) {
      case 'ERR_PARSE_ARGS_UNEXPECTED_POSITIONAL':
        throw new InvalidInputError([`unexpected argument: ${remedy}`]);
      case 'ERR_PARSE_ARGS_INVALID_OPTION_VALUE':
        throw new InvalidInputError([message.replaceAll('\n', ' ')]);
      default:
        throw error;
    }
  }
}

function unknownOption(name: string, options: Definitions): string {
  // A name of anything but letters may be a URL behind the wrong dashes.
  const shown = /^[\w-]+$/.test(name) ? `--${name}` : 'an argument';
  const known = Object.keys(options).map((option) => `--${option}`);
  return `${shown} is not an option${didYouMean(`--${name}`, known)}`;
}
