import {
  coreServices,
  createBackendModule,
} from '@backstage/backend-plugin-api';
import { parseNewTodo } from '@acme/plugin-todo-common';
import { todoSeedExtensionPoint } from '@acme/plugin-todo-node';

export const todoModuleSeed = createBackendModule({
  pluginId: 'todo',
  moduleId: 'seed',
  register(env) {
    env.registerInit({
      deps: {
        config: coreServices.rootConfig,
        todos: todoSeedExtensionPoint,
      },
      async init({ config, todos }) {
        const seeds = config.getOptional('todo.seeds') ?? [];
        if (!Array.isArray(seeds)) {
          throw new Error('`todo.seeds` must be a list of todos');
        }
        todos.addSeeds(...seeds.map(parseNewTodo));
      },
    });
  },
});
