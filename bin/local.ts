import { InvalidInputError } from '../lambda/configuration/validation';
import { Command } from './local/command';
import { HELP } from './local/help';
import { type Options, parseOptions } from './local/options';

const WRONG_OPTION = 2;

/**
 * `npm start`: runs the function of lambda/handler.ts on an embedded demo database, or on a given one.
 *
 * @returns the exit code
 */
async function main(args: readonly string[]): Promise<number> {
  let options: Options | 'help';
  try {
    options = parseOptions(args, process.env, (output) => Boolean(process.stdin.isTTY && process[output].isTTY));
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
