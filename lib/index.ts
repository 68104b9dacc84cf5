/** Public API of `token-cleanup`: constructs for your own CDK app. */
export type { CleanupFunctionProps } from './cleanup-function';
export type { CleanupScheduleProps } from './cleanup-schedule';
export type { FunctionSettings } from './database-function';
export type { FleetFunctionProps, SecretTag } from './fleet-function';
export { FleetMonitoring, type FleetMonitoringProps } from './fleet-monitoring';
export type { CleanupJobProps, CleanupSettings, DatabasePattern } from './function-environment';
export type { CleanupNetworkProps, CleanupPlace } from './function-network';
export { type IamUser, SslMode } from './login';
export { Monitoring, type MonitoringProps } from './monitoring';
export type { CleanupTarget } from './target';
export { type TableMetricOptions, TokenCleanup, type TokenCleanupProps } from './token-cleanup';
export { TokenCleanupFleet, type TokenCleanupFleetProps } from './token-cleanup-fleet';
export type { CleanupStateMachineProps } from './workflow/cleanup-state-machine';
export { OffSwitch, type OffSwitchProps } from './workflow/off-switch';
