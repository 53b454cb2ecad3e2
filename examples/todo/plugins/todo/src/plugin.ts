import {
  createApiFactory,
  createPlugin,
  createRoutableExtension,
  discoveryApiRef,
  fetchApiRef,
} from '@backstage/core-plugin-api';
import { TodoClient, todoApiRef } from './api';
import { rootRouteRef } from './routes';

export const todoPlugin = createPlugin({
  id: 'todo',
  routes: { root: rootRouteRef },
  apis: [
    createApiFactory({
      api: todoApiRef,
      deps: { discoveryApi: discoveryApiRef, fetchApi: fetchApiRef },
      factory: deps => new TodoClient(deps),
    }),
  ],
});

export const TodoPage = todoPlugin.provide(
  createRoutableExtension({
    name: 'TodoPage',
    component: () => import('./components/TodoPage').then(m => m.TodoPage),
    mountPoint: rootRouteRef,
  }),
);
