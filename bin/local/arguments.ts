import { type ParseArgsConfig, parseArgs } from 'node:util';
import { didYouMean, InvalidInputError } from '../../lambda/configuration/validation';

type Definitions = NonNullable<ParseArgsConfig['options']>;

export type Arguments<Options extends Definitions> = ReturnType<typeof parseArgs<{ options: Options }>>['values'];

/**
 * Reads options of a command line.
 *
 * @param remedy how to write what is not an option. The parser's own message quotes it, and it may be a URL with a password
 * @throws InvalidInputError with the first mistake of syntax
 */
export function readArguments<Options extends Definitions>(
  args: readonly string[],
  options: Options,
  remedy: string,
): Arguments<Options> {
  const input: ParseArgsConfig & { readonly tokens: true } = { args: [...args], options, tokens: true };
  try {
    const { values, tokens } = parseArgs(input);
    const once = tokens.flatMap((token) =>
      token.kind === 'option' && !options[token.name]?.multiple ? token.name : [],
    );
    const repeated = once.find((name, index) => once.indexOf(name) < index);
    if (repeated) {
      throw new InvalidInputError([`--${repeated} is given twice`]);
    }
    return values as Arguments<Options>;
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    switch (code) {
      case 'ERR_PARSE_ARGS_UNEXPECTED_POSITIONAL':
        throw new InvalidInputError([`unexpected argument: ${remedy}`]);
      case 'ERR_PARSE_ARGS_UNKNOWN_OPTION': {
        const { tokens } = parseArgs({ ...input, strict: false });
        const unknown = tokens.find((token) => token.kind === 'option' && !Object.hasOwn(options, token.name));
        throw new InvalidInputError([unknownOption(unknown?.kind === 'option' ? unknown.name : '', options)]);
      }
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
