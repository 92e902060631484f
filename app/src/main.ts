/** Where the app begins. */
import { confinePage } from './install/confine.ts';
import './ui/app.ts';

confinePage();
