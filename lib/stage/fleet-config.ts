/** The fleet of a stage. Imports nothing of the CDK. */

import * as z from 'zod';
import { numberIn, PORT } from '../../lambda/configuration/settings';
import { targetListsSchema } from '../../lambda/configuration/target-lists';
import { IAM_USER_NAME } from '../login';
import { COMMON } from './database-config';
import { matching, OBJECT, text, wholeNumber } from './fields';

/** A validated fleet of a stage. */
export type FleetConfig = z.input<typeof fleetSchema>;

/** Each server takes one of the account's concurrent executions, of which there are 1000. */
export const DEFAULT_SERVERS_AT_ONCE = 50;

export const fleetSchema = z.strictObject(
  {
    targets: targetListsSchema.optional(),
    iamUser: matching(IAM_USER_NAME.pattern, IAM_USER_NAME.rule).optional(),
    secretTag: z.strictObject({ key: text.max(128, 'must be at most 128 characters'), value: text }, OBJECT).optional(),
    ports: z.array(numberIn(PORT), 'must be a list of ports').min(1, 'must name at least one port').optional(),
    ...COMMON,
    serversAtOnce: wholeNumber(1, 1000).optional(),
    toleratedFailurePercentage: wholeNumber(0, 100).optional(),
    sweptWithinHours: wholeNumber(1, 8_760).optional(),
  },
  OBJECT,
);
