/**
 * Fills the todo list with entries from the configuration.
 *
 * @packageDocumentation
 */
export { todoModuleSeed as default } from './module';
