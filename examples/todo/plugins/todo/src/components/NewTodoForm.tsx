import { useState, type FormEvent } from 'react';
import type { NewTodo } from '@acme/plugin-todo-common';
import Box from '@material-ui/core/Box';
import Button from '@material-ui/core/Button';
import TextField from '@material-ui/core/TextField';

export interface NewTodoFormProps {
  /** Resolves to false when the todo was not added; the form then keeps its text. */
  onAdd(todo: NewTodo): Promise<boolean>;
}

export const NewTodoForm = ({ onAdd }: NewTodoFormProps) => {
  const [title, setTitle] = useState('');
  const [due, setDue] = useState('');

  const submit = async (event: FormEvent) => {
    event.preventDefault();
    if (await onAdd({ title, due })) {
      setTitle('');
      setDue('');
    }
  };

  return (
    <Box component="form" display="flex" mb={2} onSubmit={submit}>
      <Box flexGrow={1} mr={2}>
        <TextField
          label="What is to be done"
          value={title}
          onChange={event => setTitle(event.target.value)}
          required
          fullWidth
        />
      </Box>
      <Box mr={2}>
        <TextField
          label="Due"
          type="date"
          value={due}
          onChange={event => setDue(event.target.value)}
          InputLabelProps={{ shrink: true }}
        />
      </Box>
      <Button type="submit" variant="contained" color="primary">
        Add
      </Button>
    </Box>
  );
};
