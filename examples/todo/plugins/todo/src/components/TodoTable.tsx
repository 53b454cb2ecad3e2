import { Table, type TableColumn } from '@backstage/core-components';
import type { Todo } from '@acme/plugin-todo-common';
import Checkbox from '@material-ui/core/Checkbox';

export interface TodoTableProps {
  todos: Todo[];
  loading: boolean;
  onSetDone(id: number, done: boolean): void;
}

export const TodoTable = ({ todos, loading, onSetDone }: TodoTableProps) => {
  const columns: TableColumn<Todo>[] = [
    {
      title: 'Done',
      field: 'done',
      width: '10%',
      render: ({ id, title, done }) => (
        <Checkbox
          checked={done}
          inputProps={{ 'aria-label': title }}
          onChange={event => onSetDone(id, event.target.checked)}
        />
      ),
    },
    { title: 'Title', field: 'title', highlight: true },
    {
      title: 'Due',
      field: 'due',
      render: ({ due, overdue }) => (overdue ? `${due} (overdue)` : due),
    },
    {
      title: 'Added',
      field: 'createdAt',
      render: ({ createdAt }) => new Date(createdAt).toLocaleString(),
    },
  ];

  return (
    <Table
      title={`Todos (${todos.filter(todo => !todo.done).length} open)`}
      columns={columns}
      data={todos}
      isLoading={loading}
      options={{ paging: false, search: true }}
    />
  );
};
