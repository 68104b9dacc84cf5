/** Public API of `token-cleanup/service`: run the cleanup inside your own process. */

export type { RunRequest } from './configuration/event';
export { DEFAULT_TARGETS, parseTargets, type Target, type TargetsInput } from './configuration/targets';
export { InvalidInputError } from './configuration/validation';
export type { Credentials } from './database/connection';
export { type ConnectionOptions, type CredentialSource, fixedCredentials } from './database/session';
export type { Blockage, StopReason } from './engine/outcome';
export type { RunLogger, RunReport, RunStatus, TargetReport } from './run/report';
export { type TokenCleanupOptions, TokenCleanupService } from './token-cleanup-service';
