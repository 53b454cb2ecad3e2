import {
  Content,
  Header,
  Page,
  ResponseErrorPanel,
} from '@backstage/core-components';
import { alertApiRef, useApi } from '@backstage/core-plugin-api';
import useAsyncRetry from 'react-use/lib/useAsyncRetry';
import { todoApiRef } from '../api';
import { NewTodoForm } from './NewTodoForm';
import { TodoTable } from './TodoTable';

export const TodoPage = () => {
  const todoApi = useApi(todoApiRef);
  const alertApi = useApi(alertApiRef);
  const todos = useAsyncRetry(() => todoApi.list(), [todoApi]);

  /** Shows what went wrong, or the changed list; returns whether it went well. */
  const change = async (action: Promise<unknown>): Promise<boolean> => {
    try {
      await action;
      todos.retry();
      return true;
    } catch (error) {
      alertApi.post({ message: String(error), severity: 'error' });
      return false;
    }
  };

  return (
    <Page themeId="tool">
      <Header title="Todo" subtitle="What is left to do" />
      <Content>
        {todos.error ? (
          <ResponseErrorPanel error={todos.error} />
        ) : (
          <>
            <NewTodoForm onAdd={todo => change(todoApi.add(todo))} />
            <TodoTable
              todos={todos.value ?? []}
              loading={todos.loading}
              onSetDone={(id, done) => change(todoApi.setDone(id, done))}
            />
          </>
        )}
      </Content>
    </Page>
  );
};
