/**
 * Keeps a list of todos and serves it over HTTP.
 *
 * @packageDocumentation
 */
export { todoPlugin as default } from './plugin';
