import {
  coreServices,
  createBackendPlugin,
} from '@backstage/backend-plugin-api';
import { todoSeedExtensionPoint } from '@acme/plugin-todo-node';
import { parseNewTodo, type NewTodo } from '@acme/plugin-todo-common';
import { createRouter } from './router';
import { TodoStore } from './TodoStore';

export const todoPlugin = createBackendPlugin({
  pluginId: 'todo',
  register(env) {
    const seeds: NewTodo[] = [];

    env.registerExtensionPoint(todoSeedExtensionPoint, {
      addSeeds(...todos) {
        seeds.push(...todos.map(parseNewTodo));
      },
    });

    env.registerInit({
      deps: {
        config: coreServices.rootConfig,
        httpRouter: coreServices.httpRouter,
        logger: coreServices.logger,
      },
      // Modules are initialized before the plugin they extend, so all seeds are in by now.
      async init({ config, httpRouter, logger }) {
        const store = TodoStore.fromConfig(config);
        for (const seed of seeds) {
          store.add(seed);
        }
        logger.info(`The todo list starts with ${seeds.length} entries`);
        httpRouter.use(createRouter(store));
      },
    });
  },
});
