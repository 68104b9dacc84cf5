/** The types of fields in a stage. Imports nothing of the CDK. */

import { readFileSync } from 'node:fs';
import * as z from 'zod';

// `eu-central-1`, but also `us-gov-west-1` and `eusc-de-east-1`.
export const REGION = String.raw`[a-z]{2,4}(?:-[a-z]+)+-\d`;

export const OBJECT = 'must be an object';
export const TEXT = 'must be a string';

export const text = z.string(TEXT).min(1, 'must not be empty');
export const flag = z.boolean('must be true or false');

export function matching(pattern: RegExp, rule: string) {
  return z.string(rule).regex(pattern, rule);
}

export function arn(service: string, resource: string, what: string) {
  return matching(new RegExp(`^arn:aws[a-z-]*:${service}:${REGION}:\\d{12}:${resource}$`), `must be ${what}`);
}

export function wholeNumber(min: number, max: number) {
  const rule = `must be a whole number from ${min} to ${max}`;
  return z.int(rule).min(min, rule).max(max, rule);
}

/** A local file of certificates. */
export const pemFile = z.string(TEXT).refine(isPemFile, 'must be a readable PEM file');

function isPemFile(path: string): boolean {
  try {
    return readFileSync(path, 'utf8').includes('-----BEGIN CERTIFICATE-----');
  } catch {
    return false;
  }
}
